"""Encoders: pictures or words in, hidden states out.

Vision: vit, convnet, resnet, efficientnet. Text: clip_text, bert.
"""
