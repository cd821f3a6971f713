"""`labmon collect`: options in `collect`, rounds in `every`, everything printed in `view`."""
