"""How an app in this task finds the services' addresses by name.

- hosts: the task's hosts file, where each name of a service stands with its virtual address
"""
