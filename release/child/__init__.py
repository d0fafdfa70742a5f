"""A child process: how it is started, its output, its process group and all that it leaves behind, its end."""
