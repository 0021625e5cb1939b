"""Taking the canaries out of the mailboxes again, and nothing else."""
