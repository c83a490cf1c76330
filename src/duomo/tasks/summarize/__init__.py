"""A long text to a short one."""
