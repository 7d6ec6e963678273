"""How an app in this task finds the services' addresses by name."""
