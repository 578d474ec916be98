"""A world that fails on purpose: scripted clients and mailers, crash states, and what must hold in each."""
