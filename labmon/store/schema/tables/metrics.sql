-- What the machines measured. One row per machine and reading, however often it is delivered.
-- real holds six digits, more than any of these sensors means; numeric would cost three times the space.

CREATE TABLE metrics (
    system_id                integer     NOT NULL,
    collected_at             timestamptz NOT NULL,
    cpu_percent              real,
    ram_percent              real,
    disk_percent             real,
    network_sent_mbps        real,
    network_recv_mbps        real,
    gpu_percent              real,
    uptime_seconds           bigint,
    logged_in_users          bigint,
    cpu_iowait_percent       real,
    cpu_temperature_celsius  real,
    load1                    real,
    ram_total_bytes          bigint,
    swap_percent             real,
    swap_in_rate             real,
    swap_out_rate            real,
    disk_read_mbps           real,
    disk_write_mbps          real,
    gpu_memory_percent       real,
    gpu_temperature_celsius  real,
    context_switch_rate      real,
    major_page_fault_rate    real,
    process_count            bigint,
    disk_total_bytes         bigint,
    PRIMARY KEY (system_id, collected_at)
) PARTITION BY RANGE (collected_at);
