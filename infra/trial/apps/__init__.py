"""The two programs of the trial. They travel in the task definitions, so each is one file of the standard library."""
