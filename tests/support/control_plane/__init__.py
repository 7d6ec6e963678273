"""What tests put around the functions, the local mesh and the commands.

- where items are: moto (`aws`), DynamoDB Local (`dynamodb_local`), or a table in memory that is fast (`memory_table`)
- how a function runs: called (`functions`), behind API Gateway's events (`gateway`), or as Lambda runs its artefact,
  with the permissions that the template grants (`lambda_runtime`, `front_door`)
- ECS, Route 53, CloudWatch, CloudFormation: what answers in their place
- histories, storm: many tasks that start and stop; `registry_model` says what must come of a write
- meshes: traffic with known numbers for the console
- terminal: a command as a person sees it
"""

from __future__ import annotations
