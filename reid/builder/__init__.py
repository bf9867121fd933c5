"""From a config to objects and whole runs: the only room that reads a config. The rest takes plain arguments."""
