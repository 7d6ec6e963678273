"""A request from its head to the end of its answer: attempts, deadlines, retries."""
