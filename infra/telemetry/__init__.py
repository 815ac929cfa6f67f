"""What is measured and traced: instruments, the loop's own delay, spans, and reading figures back."""
