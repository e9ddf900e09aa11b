"""Logits of a folder in the layout of Hugging Face transformers: its three architectures that we export, written from their
definition (separate projections, rotary angles repeated for both halves, key heads repeated), in float64.

Usage: hf_forward.py FOLDER < ids, a JSON list of rows. Prints the logits as a flat JSON list.
"""

import json
import math
import os
import struct
import sys

import torch
import torch.nn.functional as F


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        assert header.pop("__metadata__") == {"format": "pt"}
        data = file.read()
    read = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32)
        read[name] = values.reshape(entry["shape"]).double()
    return read


ACTIVATIONS = {
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "linear": lambda x: x,
}


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


class Model:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        self.weights = read_safetensors(os.path.join(folder, "model.safetensors"))
        self.unused = set(self.weights)

    def get(self, name):
        self.unused.discard(name)
        return self.weights[name]

    def linear(self, name, x, bias):
        return F.linear(x, self.get(name + ".weight"), self.get(name + ".bias") if bias else None)

    def norm(self, name, x):
        weight, config = self.get(name + ".weight"), self.config
        if config["model_type"] == "llama":
            return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"])
        eps = config["norm_epsilon"] if config["model_type"] == "starcoder2" else config["layer_norm_eps"]
        return F.layer_norm(x, x.shape[-1:], weight, self.get(name + ".bias"), eps)

    def attention(self, name, x, qkv_bias, out_bias):
        config = self.config
        batch, seq, _ = x.shape
        heads, kv_heads, size = (config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))

        def split(part):
            return self.linear(f"{name}.{part}_proj", x, qkv_bias).view(batch, seq, -1, size).transpose(1, 2)

        q, k, v = split("q"), split("k"), split("v")
        frequencies = 1.0 / config["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.outer(torch.arange(seq, dtype=torch.float64), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        q, k = (y * angles.cos() + rotate_half(y) * angles.sin() for y in (q, k))
        k, v = (y.repeat_interleave(heads // kv_heads, dim=1) for y in (k, v))
        later = torch.full((seq, seq), -math.inf, dtype=torch.float64).triu(1)
        mixed = torch.softmax(q @ k.transpose(2, 3) * size**-0.5 + later, dim=-1) @ v
        return self.linear(f"{name}.o_proj", mixed.transpose(1, 2).reshape(batch, seq, -1), out_bias)

    def mlp(self, name, x, bias):
        act = ACTIVATIONS[self.config["hidden_act"]]
        if self.config["model_type"] == "starcoder2":
            return self.linear(name + ".c_proj", act(self.linear(name + ".c_fc", x, bias)), bias)
        gated = act(self.linear(name + ".gate_proj", x, bias)) * self.linear(name + ".up_proj", x, bias)
        return self.linear(name + ".down_proj", gated, bias)

    def biases(self):
        """Of the projections to queries, keys and values, of the attention's output, of the feedforward network."""
        config = self.config
        if config["model_type"] == "llama":
            return config["attention_bias"], config["attention_bias"], config["mlp_bias"]
        if config["model_type"] == "starcoder2":
            return (config["use_bias"],) * 3
        assert config["model_type"] == "stablelm"
        assert config["partial_rotary_factor"] == 1 and not config["use_parallel_residual"]
        return config["use_qkv_bias"], False, False

    def logits(self, ids):
        qkv_bias, out_bias, mlp_bias = self.biases()
        embedding = self.get("model.embed_tokens.weight")
        assert self.config["tie_word_embeddings"]
        assert embedding.shape == (self.config["vocab_size"], self.config["hidden_size"])
        x = embedding[ids]
        for i in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{i}"
            normed = self.norm(layer + ".input_layernorm", x)
            x = x + self.attention(layer + ".self_attn", normed, qkv_bias, out_bias)
            x = x + self.mlp(layer + ".mlp", self.norm(layer + ".post_attention_layernorm", x), mlp_bias)
        x = self.norm("model.norm", x)
        assert not self.unused, self.unused
        return x @ embedding.T


model = Model(sys.argv[1])
print(json.dumps(model.logits(torch.tensor(json.load(sys.stdin))).flatten().tolist()))
