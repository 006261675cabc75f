"""The engine process: admit → schedule → execute → settle → emit."""
