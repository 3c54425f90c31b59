"""The learned biases of a Hugging Face model."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from g2vlm_fast.integrations._transformers_geometry import Geometry, current_geometry
from g2vlm_fast.nn import GeometryBias
from g2vlm_fast.ops import BiasSpec

_REMEDY = (
    "if the model drops keyword arguments, run it inside `with use_geometry(geometry):`; its "
    'attention implementation must be "geometry"'
)


# What the pass that this thread runs has seen. Compiled code sees no context variables: what it
# reads and writes are attributes, which say the same of passes in any thread.
_asked: ContextVar[bool] = ContextVar("asked", default=False)
_reached: ContextVar[frozenset[int]] = ContextVar("reached", default=frozenset())


class LayerBias(GeometryBias):
    """The bias of one layer, and whether geometry reached it."""

    _reached_once: bool = False
    _reached_compiled: bool = False

    def note(self) -> None:
        """Note that geometry reached this layer, whether or not the bias is needed."""
        self._reached_once = True
        if torch.compiler.is_compiling():
            self._reached_compiled = True
        else:
            _reached.set(_reached.get() | {id(self)})

    def reached(self) -> bool:
        """Return whether it did in the pass that this thread runs.

        Between compiled and other code, say a compiled layer of a model that is not, the answer
        is whether it ever did.
        """
        if torch.compiler.is_compiling():
            return self._reached_once
        return self._reached_compiled or id(self) in _reached.get()

    def forward(self) -> Tensor:
        """Note the use, and return the parameters."""
        self.note()
        return super().forward()


class GeometryAdapter(nn.Module):
    """A geometric bias for each self-attention layer of a model, learned alone or with it.

    Creating it switches the model to the attention implementation ``"geometry"`` and gives each
    attention module a child ``geometry_bias``, which the adapter holds too: its own parameters
    and its own ``state_dict`` are the biases alone. All biases start at zero, where the model is
    what it was::

        adapter = GeometryAdapter(model, BiasSpec(Distance()))
        model.requires_grad_(False)
        adapter.requires_grad_(True)
        model(input_ids, geometry=Geometry(position))

    The terms are in the ``state_dict``, so that parameters of others are not loaded by mistake.

    Args:
        model: any Hugging Face model whose attention goes through ``AttentionInterface``.
        spec: the terms of the bias.
        part: the part of the model whose layers have a bias, say its language model; None for all
            of it. The rest runs without geometry.
        layers: which attention layers of the part have a bias, counted from 0 in the order of
            ``part.modules()``; None for all that are no cross-attention.

    Raises:
        TypeError: no Hugging Face model, or no BiasSpec.
        ValueError: a model that transformers does not run under sdpa, or with an adapter already;
            a part that is not of the model, or without such layers, or a layer that it has not.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        spec: BiasSpec,
        *,
        part: nn.Module | None = None,
        layers: Collection[int] | None = None,
    ) -> None:
        super().__init__()
        part = model if part is None else part
        named = _attention_of(model, part)
        chosen = _chosen_of(named, layers)
        attention = list(named.values())
        self.spec = spec
        self.biases = nn.ModuleDict()
        for index in sorted(chosen):
            self.biases[str(index)] = _bias_for(attention[index], spec)
        model.set_attn_implementation("geometry")
        # From here on nothing fails, so that a refusal leaves the model as it was.
        for module in model.modules():
            if _uses_interface(module):
                module.geometry_bias = None
        for index in chosen:
            attention[index].geometry_bias = self.biases[str(index)]
        self._asked_compiled = False
        model.register_forward_pre_hook(self._before_model, with_kwargs=True)
        part.register_forward_pre_hook(self._before_part, with_kwargs=True)
        part.register_forward_hook(self._after_part, with_kwargs=True)
        model.register_forward_hook(self._after_model, always_call=True)

    def get_extra_state(self) -> Tensor:
        """Return the terms in words, as bytes, which every format of tensors can store."""
        return torch.tensor(list(repr(self.spec).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse parameters of other terms than these."""
        terms = bytes(state.tolist()).decode()
        if terms != repr(self.spec):
            raise ValueError(
                f"GeometryAdapter: the parameters are of {terms}, the adapter is of "
                f"{self.spec!r}; create it with their spec"
            )

    def _layers(self) -> dict[str, LayerBias]:
        return {name: cast(LayerBias, bias) for name, bias in self.biases.items()}

    def _before_model(self, model: nn.Module, _: Any, arguments: dict[str, Any]) -> None:
        given = arguments.get("geometry")
        if given is not None and not isinstance(given, Geometry):
            raise TypeError(
                f"{type(model).__name__}: geometry must be a Geometry, got {type(given).__name__}"
            )
        self._note_asked(given is not None)

    def _after_model(self, *_: Any) -> None:
        self._note_asked(False)

    def _note_asked(self, asked: bool) -> None:
        """Note whether the running model was called with geometry."""
        if torch.compiler.is_compiling():
            self._asked_compiled = asked
        else:
            _asked.set(asked)

    def _forget_layers(self) -> None:
        if not torch.compiler.is_compiling():
            _reached.set(_reached.get() - {id(bias) for bias in self.biases.values()})

    def _before_part(self, part: nn.Module, _: Any, arguments: dict[str, Any]) -> None:
        self._forget_layers()
        if arguments.get("geometry") is None:
            if current_geometry() is None:
                if self._asked_compiled if torch.compiler.is_compiling() else _asked.get():
                    raise RuntimeError(f"geometry did not reach {type(part).__name__}; {_REMEDY}")
                return
            if part.training and _checkpoints_activations(part):
                raise NotImplementedError(
                    "use_geometry: layers that are computed again in the backward pass do not "
                    "see it; pass geometry= to the model, or keep its activations"
                )
        if getattr(arguments.get("past_key_values"), "is_compileable", False):
            raise NotImplementedError(
                "geometry attention: a static cache does not tell which token asks; use "
                "DynamicCache, or cache_implementation='dynamic' in generate"
            )

    def _after_part(self, part: nn.Module, _: Any, arguments: dict[str, Any], __: Any) -> None:
        if arguments.get("geometry") is None and current_geometry() is None:
            return
        unused = [name for name, bias in self._layers().items() if not bias.reached()]
        self._forget_layers()
        if part.training and len(unused) < len(self.biases):
            return  # layers may be dropped in training
        if unused:
            raise RuntimeError(
                f"geometry did not reach attention layers {', '.join(unused)} of "
                f"{type(part).__name__}; {_REMEDY}"
            )


def _attention_of(model: PreTrainedModel, part: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules of the part by name, of a model that can have biases."""
    name = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"GeometryAdapter: model must be a transformers.PreTrainedModel, got {name}"
        )
    if not model._supports_sdpa:
        raise ValueError(
            f"GeometryAdapter: {name} does not run under sdpa, which attention without geometry "
            "is; it cannot have biases"
        )
    if any(hasattr(module, "geometry_bias") for module in model.modules()):
        raise ValueError(
            f"GeometryAdapter: {name} has an adapter already; train that one, or make the model "
            "anew"
        )
    if all(module is not part for module in model.modules()):
        raise ValueError(
            f"GeometryAdapter: part must be a module of {name}, got {type(part).__name__}"
        )
    attention = {name: each for name, each in part.named_modules() if _uses_interface(each)}
    if not attention:
        raise ValueError(
            f"GeometryAdapter: no attention of {type(part).__name__} goes through "
            "transformers.AttentionInterface"
        )
    return attention


def _chosen_of(attention: dict[str, nn.Module], layers: Collection[int] | None) -> set[int]:
    every = range(len(attention))
    if layers is None:
        crosses = [_is_cross_attention(*named) for named in attention.items()]
        return {i for i in every if not crosses[i]}
    if not set(layers) <= set(every):
        raise ValueError(
            f"GeometryAdapter: layers must be from 0 to {len(attention) - 1}, got {sorted(layers)}"
        )
    return set(layers)


def _is_cross_attention(name: str, module: nn.Module) -> bool:
    """Go by names, as models use one class for both: ``encoder_attn`` beside ``self_attn``."""
    own = name.rpartition(".")[2].lower()
    return "encoder_attn" in own or "cross" in own + type(module).__name__.lower()


def _checkpoints_activations(model: nn.Module) -> bool:
    """Do what ``model.is_activation_checkpointing`` does, whose name depends on the version."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def _uses_interface(module: nn.Module) -> bool:
    forward = inspect.unwrap(type(module).forward)
    code = getattr(forward, "__code__", None)
    return code is not None and "ALL_ATTENTION_FUNCTIONS" in code.co_names


def _bias_for(module: nn.Module, spec: BiasSpec) -> LayerBias:
    bias = LayerBias(spec, _heads_of(module))
    parameter = next(module.parameters(), None)
    return bias if parameter is None else bias.to(parameter.device)


def _heads_of(module: nn.Module) -> int:
    for owner in (module, getattr(module, "config", None)):
        for name in ("num_heads", "num_attention_heads"):
            if isinstance(getattr(owner, name, None), int):
                return int(getattr(owner, name))
    raise ValueError(
        f"GeometryAdapter: {type(module).__name__} does not say how many heads it has; leave it out"
    )
