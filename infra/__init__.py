"""What is around the mesh: ECS on one machine, the `tramo` command, dashboards and examples."""
