"""What is around the mesh: ECS on one machine, the `tramo` command, its console, dashboards and examples.

Its floors, from below: local, dashboards, inject, cost and terminal; client; analysis; console and trial; cli. A floor
imports only what is below it.
"""
