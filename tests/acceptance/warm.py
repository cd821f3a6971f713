"""`labmon`, loaded once and forked for every command: what a command does, without a second of loading each.

Reads one JSON object per line (arguments, environment, folder), answers with one (exit code, output, errors).
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import psycopg  # noqa: F401  whatever takes time to load
import psycopg_pool  # noqa: F401

import labmon.alerts.dry_run
import labmon.alerts.incidents
import labmon.cli
import labmon.store.pool  # noqa: F401
from labmon.__main__ import main


def run(arguments, environ, folder):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environ)
            sys.argv = ["labmon", *arguments]
            with open(os.devnull, "rb") as nothing:
                for number, file in enumerate((nothing, out, err)):
                    os.dup2(file.fileno(), number)
            become(main)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        texts = [Path(f"/proc/self/fd/{file.fileno()}").read_text() for file in (out, err)]
        return {"code": code, "out": texts[0], "err": texts[1]}


def become(main):
    """The end of the process is that of a program."""
    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
