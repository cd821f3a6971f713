-- Old readings, small: one row per machine and hour, each metric a byte string, exact.
-- labmon/store/metrics/codec.py says what the bytes are.

CREATE TABLE metrics_packed (
    hour                     timestamptz NOT NULL,
    system_id                integer     NOT NULL,
    readings                 integer     NOT NULL,
    collected_at             bytea       NOT NULL,
    cpu_percent              bytea,
    ram_percent              bytea,
    disk_percent             bytea,
    network_sent_mbps        bytea,
    network_recv_mbps        bytea,
    gpu_percent              bytea,
    uptime_seconds           bytea,
    logged_in_users          bytea,
    cpu_iowait_percent       bytea,
    cpu_temperature_celsius  bytea,
    load1                    bytea,
    ram_total_bytes          bytea,
    swap_percent             bytea,
    swap_in_rate             bytea,
    swap_out_rate            bytea,
    disk_read_mbps           bytea,
    disk_write_mbps          bytea,
    gpu_memory_percent       bytea,
    gpu_temperature_celsius  bytea,
    context_switch_rate      bytea,
    major_page_fault_rate    bytea,
    process_count            bytea,
    PRIMARY KEY (system_id, hour)
) PARTITION BY RANGE (hour);

-- Where a day is packed machine by machine, before it takes the place of the plain readings all at once. `plain`
-- is how many of a row's readings are such. Not logged: what a crash of the server empties is packed again.
CREATE UNLOGGED TABLE metrics_packing (LIKE metrics_packed INCLUDING ALL, plain integer NOT NULL);

-- Added, not written above: a metric that comes later stands behind `plain`, in new databases as in old ones.
ALTER TABLE metrics_packed ADD COLUMN disk_total_bytes bytea;
ALTER TABLE metrics_packing ADD COLUMN disk_total_bytes bytea;

-- Days that were unpacked by hand, and are therefore left alone.
CREATE TABLE unpacked_days (
    day  date PRIMARY KEY
);
