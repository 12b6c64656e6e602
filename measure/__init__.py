"""Files out, and the numbers read off them: conversion to .tflite, sizes, weights, quality, latency.

Every figure is read from the exported file, not from the Keras model that it came from.
"""
