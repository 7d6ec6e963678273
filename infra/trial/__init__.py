"""A trial of the mesh in an AWS account: stack, cluster, two services, a deployment under load, and a report."""
