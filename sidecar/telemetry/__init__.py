"""Where the meters' counts go."""
