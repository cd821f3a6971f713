-- A hypertable of `metrics`, compressed by TimescaleDB instead of being packed by labmon.
SELECT create_hypertable('metrics', 'collected_at', chunk_time_interval => interval '1 day');
ALTER TABLE metrics SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'system_id', timescaledb.compress_orderby = 'collected_at'
);
