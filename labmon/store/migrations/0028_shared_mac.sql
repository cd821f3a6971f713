-- An administrator says that the MAC address of this machine belongs to others as well. Unlike mac_flag = 'shared',
-- which scans set and clear, it stays.
ALTER TABLE systems ADD COLUMN mac_shared boolean NOT NULL DEFAULT false;
