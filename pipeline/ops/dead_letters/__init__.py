"""What no stage could handle: seen, redriven, or given up."""
