"""What every view has to keep to, and a view that is only here to show that it is a plug."""
