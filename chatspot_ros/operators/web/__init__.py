"""The operators' page in the browser (NiceGUI): live picture, drawing, questions, answers."""
