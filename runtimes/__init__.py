"""What executes an artifact? Every runtime behind one `Session`, and the exact up-sample-argmax."""
