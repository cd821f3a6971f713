-- Where packed readings are, and the view through which all are read.

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

-- All readings, packed or not. Say which hours too (`hour` is the start of the one that a reading is in): that
-- is what the index of the packed ones knows.
CREATE VIEW readings AS
SELECT system_id, collected_at, labmon_bucket('1 hour', collected_at) AS hour,
       cpu_percent, ram_percent, disk_percent, network_sent_mbps, network_recv_mbps, gpu_percent,
       uptime_seconds, logged_in_users, cpu_iowait_percent, cpu_temperature_celsius, load1, ram_total_bytes,
       swap_percent, swap_in_rate, swap_out_rate, disk_read_mbps, disk_write_mbps, gpu_memory_percent,
       gpu_temperature_celsius, context_switch_rate, major_page_fault_rate, process_count
FROM metrics
UNION ALL
SELECT system_id, hour + one.microseconds * interval '1 microsecond', hour,
       one.cpu_percent, one.ram_percent, one.disk_percent, one.network_sent_mbps, one.network_recv_mbps, one.gpu_percent,
       one.uptime_seconds, one.logged_in_users, one.cpu_iowait_percent, one.cpu_temperature_celsius, one.load1, one.ram_total_bytes,
       one.swap_percent, one.swap_in_rate, one.swap_out_rate, one.disk_read_mbps, one.disk_write_mbps, one.gpu_memory_percent,
       one.gpu_temperature_celsius, one.context_switch_rate, one.major_page_fault_rate, one.process_count
FROM metrics_packed AS p, unnest(
    labmon_unpack(p.collected_at, p.readings),
    labmon_unpack_real(p.cpu_percent, p.readings),
    labmon_unpack_real(p.ram_percent, p.readings),
    labmon_unpack_real(p.disk_percent, p.readings),
    labmon_unpack_real(p.network_sent_mbps, p.readings),
    labmon_unpack_real(p.network_recv_mbps, p.readings),
    labmon_unpack_real(p.gpu_percent, p.readings),
    labmon_unpack(p.uptime_seconds, p.readings),
    labmon_unpack(p.logged_in_users, p.readings),
    labmon_unpack_real(p.cpu_iowait_percent, p.readings),
    labmon_unpack_real(p.cpu_temperature_celsius, p.readings),
    labmon_unpack_real(p.load1, p.readings),
    labmon_unpack(p.ram_total_bytes, p.readings),
    labmon_unpack_real(p.swap_percent, p.readings),
    labmon_unpack_real(p.swap_in_rate, p.readings),
    labmon_unpack_real(p.swap_out_rate, p.readings),
    labmon_unpack_real(p.disk_read_mbps, p.readings),
    labmon_unpack_real(p.disk_write_mbps, p.readings),
    labmon_unpack_real(p.gpu_memory_percent, p.readings),
    labmon_unpack_real(p.gpu_temperature_celsius, p.readings),
    labmon_unpack_real(p.context_switch_rate, p.readings),
    labmon_unpack_real(p.major_page_fault_rate, p.readings),
    labmon_unpack(p.process_count, p.readings)
) AS one (
    microseconds,
    cpu_percent, ram_percent, disk_percent, network_sent_mbps, network_recv_mbps, gpu_percent,
    uptime_seconds, logged_in_users, cpu_iowait_percent, cpu_temperature_celsius, load1, ram_total_bytes,
    swap_percent, swap_in_rate, swap_out_rate, disk_read_mbps, disk_write_mbps, gpu_memory_percent,
    gpu_temperature_celsius, context_switch_rate, major_page_fault_rate, process_count
);

-- Days that somebody unpacked by hand, and that are therefore left alone.
CREATE TABLE unpacked_days (
    day  date PRIMARY KEY
);

-- Keep a day from being packed until the transaction ends.
CREATE FUNCTION labmon_hold_day(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'metrics_' || to_char(day, 'YYYYMMDD');
BEGIN
    PERFORM labmon_metrics_day(day);
    IF to_regclass(name) IS NOT NULL THEN
        EXECUTE format('LOCK TABLE %I IN ROW EXCLUSIVE MODE', name);
    END IF;
END
$$;
