"""`make views-report`: what models would be sent, by Weft and by what people use today."""
