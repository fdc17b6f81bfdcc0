"""The paper, repeated: `scales` (how large), `members` (which commands), `running` (from the plan to the folders)."""
