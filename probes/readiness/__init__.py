"""Before the change: whether what the plan names can be reached and logged in to."""
