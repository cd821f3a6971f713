"""Put one measurement of this machine into labmon's queue: send.py DATABASE_URL SYSTEM_ID"""

import json
import os
import sys
from datetime import UTC, datetime

import psycopg

url, system_id = sys.argv[1], int(sys.argv[2])
message = {
    "system_id": system_id,
    "collected_at": datetime.now(UTC).isoformat(),
    "metrics": {"load1": os.getloadavg()[0]},
}
with psycopg.connect(url) as connection:
    (sent,) = connection.execute(
        "SELECT labmon_publish('metrics_queue', %s)", [json.dumps(message)]
    ).fetchone()
print(f"sent as {sent}")
