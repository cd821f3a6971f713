"""What of a URL and of a text that quotes one is printed."""

import time

import pytest

from labmon.masking import is_plain_url, mask_secrets, mask_text, mask_url


def test_passwords_are_masked_wherever_they_stand():
    text = "at postgresql://labmon:p@ss:word@db/labmon and amqp://u:x@mq, password='two words' password=one."
    assert mask_text(text) == (
        "at postgresql://labmon:***@db/labmon and amqp://u:***@mq, password=*** password=***"
    )


# findings B9
@pytest.mark.parametrize("password", ["hun/ter", "pa://ss", "p@ss", "a:b", "/", "x://y@z", "@@", "a//b:c@d"])
@pytest.mark.parametrize("form", [mask_url, mask_text])
def test_no_part_of_a_password_is_printed(password, form):
    assert form(f"postgresql://me:{password}@db.example.edu/labmon").startswith(
        "postgresql://me:***@db.example.edu"
    )


# findings B9
@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql://me:hunter2@db/lab", "postgresql://me:***@db/lab"),
        (
            "postgresql://me@db:5433,db2/lab?sslmode=require",
            "postgresql://me@db:5433,db2/lab?sslmode=require",
        ),
        ("postgresql://[::1]:5432/lab", "postgresql://[::1]:5432/lab"),
        ("postgresql://h/x?user=u&password=hunter2", "postgresql://h/x?user=u&password=***"),
        ("postgresql://h/x?password=abc@hunter2", "postgresql://h/x?password=***"),
        ("postgresql://:hunter2@db/lab", "postgresql://:***@db/lab"),
        ("postgresql:///lab?host=/run/postgresql", "postgresql:///lab?host=/run/postgresql"),
        ("postgresql://me:hun?ter2@db/lab", "***"),
        ("postgresql://me:12?hunter2@db/lab", "***"),
        ("postgresql://me:hun#ter2@db/lab", "***"),
        ("postgresql://me:hunter2\udcff@db/lab", "***"),
        ("host=db password=hunter2", "***"),
        ("hunter2", "***"),
    ],
)
def test_a_url_is_printed_without_its_password(url, shown):
    assert mask_url(url) == shown
    assert "hunter2" not in mask_url(url)


@pytest.mark.parametrize(
    "url, plain",
    [
        ("postgresql://me:hunt%2Fer@db/lab", True),
        ("postgresql://db", True),
        ("postgresql:///lab?host=/run/postgresql", True),
        ("postgresql://me:hun/ter@db/lab", False),
        ("postgresql://u:p@ss:word@h/x", False),
        ("postgresql://me:12?34@db/lab", False),
    ],
)
def test_a_url_is_plain_when_it_has_one_reading(url, plain):
    assert is_plain_url(url) is plain


# findings B6
@pytest.mark.parametrize("piece", ["x://a:", "a://", "password=", "A", "x://a:b@", "password "])
def test_masking_takes_time_in_proportion_to_the_text(piece):
    def seconds(times):
        begun = time.process_time()
        mask_text(piece * times)
        return time.process_time() - begun

    assert seconds(40_000) < 20 * max(seconds(10_000), 0.005)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"password": "hunter2", "n": 1}', '{"password": "***", "n": 1}'),
        ('{"db_Passwd":"a\\"b","x":1}', '{"db_Passwd":"***","x":1}'),
        ('{"api_key": 12345}', '{"api_key": "***"}'),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("token lmt_0123456789abcdef here", "token *** here"),
        ("amqp://guest:gu3st@mq/lab", "amqp://guest:***@mq/lab"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "***"),
        ("login token=TopSecret3 ok", "login token=*** ok"),
        ("db_pwd: 'a b', user: eve", "db_pwd: '***', user: eve"),
        ("?api_key=abc&x=1", "?api_key=***&x=1"),
        ("SECRET = x;n=1", "SECRET = ***;n=1"),
        ("authorization: Basic YTpi", "authorization: Basic ***"),
        ("the token was old; tokens 5, secretary=eve", "the token was old; tokens 5, secretary=eve"),
        ('{"hostname": "pc-1", "cpu_percent": 7.5}', '{"hostname": "pc-1", "cpu_percent": 7.5}'),
    ],
)
def test_secrets_in_bodies_of_others_are_masked(text, masked):
    assert mask_secrets(text) == masked


def test_masking_secrets_takes_linear_time():
    begun = time.process_time()
    mask_secrets('"password' * 20_000 + '"' * 20_000)
    mask_secrets("token_" * 20_000)
    mask_secrets("token='" * 20_000)
    assert time.process_time() - begun < 5
