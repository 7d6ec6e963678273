"""ECS and what is around it, on one machine: real task definitions, real events, the real handlers."""
