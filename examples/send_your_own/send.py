"""Put one measurement of this machine into labmon's queue: send.py DATABASE_URL SYSTEM_ID"""

import json
import os
import sys
from datetime import UTC, datetime

import psycopg

if len(sys.argv) != 3:
    sys.exit(__doc__)
url, system_id = sys.argv[1], int(sys.argv[2])
message = {
    "system_id": system_id,
    "collected_at": datetime.now(UTC).isoformat(),
    "metrics": {"load1": os.getloadavg()[0]},
}
try:
    with psycopg.connect(url) as connection:
        (sent,) = connection.execute(
            "SELECT labmon_publish('metrics_queue', %s)", [json.dumps(message)]
        ).fetchone()
except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedObject):
    sys.exit("there is no queue in this database yet. Make it with: labmon setup-queues")
except psycopg.Error as error:
    sys.exit(f"not sent: {error}")
print(f"sent as {sent}")
