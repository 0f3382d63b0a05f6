"""What a command's exit status means."""

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
