"""What the machine does: the host, its disks, the trainers, the GPUs. One library, one module."""
