"""Models from elsewhere and for elsewhere: run folders, Hugging Face folders, GGUF, weights of the common PyTorch layout.

in and out    convert, opening (what `--from` names), runs, parity (the gate of every conversion)
Hugging Face  hf: families and naming (whose weights are called what), settings, vocabularies and pieces, adapters, said (what weights
              do not tell)
GGUF          gguf: gguf_models, gguf_text, quants
PyTorch       pictures (picture_layouts: torchvision, timm), trunks, weights (.pth is read in weights_child)
engines       engines: OpenVINO and ONNX Runtime in torch's place
"""
