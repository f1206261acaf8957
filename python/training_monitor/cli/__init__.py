"""The commands: `training-monitor`, one file each."""
