"""Where workers are found: a file, or a cluster that is watched. None of them is asked while a request waits."""
