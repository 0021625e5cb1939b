"""Why a requirement is in its state: the observations behind it, what it takes, and what to do now."""
