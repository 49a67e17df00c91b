"""What `attach` looks at before anything is done: arguments, layers, initialisers, who else uses a tensor."""
