"""Which real images stand for the data, and which ranges do they produce?"""
