"""What is there, and what it measured: the overview, systems, labs, scans."""
