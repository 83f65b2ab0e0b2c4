"""What is generated from the contract: schemas, interface documents, reference pages, the client's rules."""
