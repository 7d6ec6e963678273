"""Task definitions that are not registered yet, and what is wrong with them.

- document: a task definition in a file of ECS, CloudFormation, CDK or Terraform
- issue: a finding in a document
- served: a service that another document or the mesh has already
"""

from __future__ import annotations
