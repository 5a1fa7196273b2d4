"""The published files, one entry each: address, mirrors, size, sha256, licence, citation, and who loads it.

Where a sha256 is None, nobody has published it: the first download is trusted and its hash recorded beside the file
(see `store`). A size of None is one that is known only roughly. No number here is a guess: sizes and hashes are those
that the files' hosts state, or that several public manifests agree on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightFile:
    """A published file.

    name: under `home()`, with `/` where it lies in a folder. url None: there is no address to fetch it from; `where`
    says how to come by it. mirrors: other addresses of the same bytes, asked in order when url fails.
    loaded_by: the network or library that reads it. profiles: those that cannot do without it.
    """

    name: str
    url: str | None = None
    sha256: str | None = None
    size: int | None = None  # bytes
    licence: str = ""
    where: str = ""
    mirrors: tuple[str, ...] = ()
    citation: str = ""
    loaded_by: str = ""
    profiles: tuple[str, ...] = ()


_HUB = "https://huggingface.co"
_EVERY_PROFILE = ("imagenet256", "ffhq256", "ffhq256_baseline")


def _drive(identity: str) -> str:
    """The address under which Google Drive sends a large public file without asking back."""
    return f"https://drive.usercontent.google.com/download?id={identity}&export=download&confirm=t"


def _clip(name: str, size: int, sha256: str, profiles: tuple[str, ...] = ()) -> tuple[WeightFile]:
    """One of OpenAI's CLIPs: their addresses contain the sha256."""
    return (
        WeightFile(
            name,
            f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}",
            sha256,
            size,
            "MIT",
            mirrors=(
                f"https://openaipublic.blob.core.windows.net/clip/models/{sha256}/{name}",
                f"{_HUB}/pxlpshr/pytti-models/resolve/main/clip/{sha256}/{name}",
            ),
            citation="Radford et al. 2021, arXiv:2103.00020",
            loaded_by=f"open_clip {name.removesuffix('.pt')}-quickgelu",
            profiles=profiles,
        ),
    )


def _dino(model: str, sha256: str) -> tuple[WeightFile]:
    """One of DINO's vision transformers, in timm's conversion: the same numbers under timm's names."""
    return (
        WeightFile(
            f"{model}.safetensors",
            f"{_HUB}/timm/{model}/resolve/main/model.safetensors",
            sha256,
            licence="Apache 2.0",
            where="facebookresearch/dino publishes the originals",
            citation="Caron et al. 2021, arXiv:2104.14294",
            loaded_by=f"timm {model}",
        ),
    )


_STABLE_DIFFUSION = """
model_index.json 541 e2f6f22e274374010aec30c79eb2d6e53fff4a36ac0225523a92cb2d41a83347
feature_extractor/preprocessor_config.json 342 2a1da83b5e1032aaeef397552ddb408dca0d8cd1dc58f61bf6abf38d6f33a0a2
scheduler/scheduler_config.json 308 699cce92eb7c122e2eb7dfdea78e6187fda76a5ed4a8e42319b85610e620e091
text_encoder/config.json 617 845df614cb9327ae7bbea027316246fae917827407da6df13572e41b5f93b4cc
text_encoder/model.safetensors 246144864 77795e2023adcf39bc29a884661950380bd093cf0750a966d473d1718dc9ef4e
tokenizer/merges.txt 524619 9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a
tokenizer/special_tokens_map.json 472 c4864a9376a8401918425bed71fc14fc0e81f9b59ec45c1cf96cccb2df508eac
tokenizer/tokenizer_config.json 806 00439066fcba73de57644cf41e4e3b9f2dbb09d7f3fc2005898ba52399045882
tokenizer/vocab.json 1059962 e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349
unet/config.json 743 78f474de6bab3d893868f37be97b636ae65c0df3073ed3256ca458ff599b5f96
unet/diffusion_pytorch_model.safetensors 1719125304 c83908253f9a64d08c25fc90874c9c8aef9a329ce1ca5fb909d73b0c83d1ea21
vae/config.json 547 786a7d21647ddea6a04b9675c03d3cb45e90a2f3c6da5fbda2c54ade040036de
vae/diffusion_pytorch_model.safetensors 167335342 4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c
"""


def _stable_diffusion() -> tuple[WeightFile, ...]:
    """Stable Diffusion 1.5 as a folder for diffusers, in half precision, without the safety checker.

    The publisher withdrew the original; this repository is the one that diffusers' documentation names since. The
    address holds its revision, so that the small files stay the same too.
    """
    revision = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
    return tuple(
        WeightFile(
            f"stable-diffusion-v1-5/{name}",
            f"{_HUB}/stable-diffusion-v1-5/stable-diffusion-v1-5/resolve/{revision}/{there}",
            sha256,
            int(size),
            "CreativeML OpenRAIL-M",
            mirrors=(f"{_HUB}/sd-legacy/stable-diffusion-v1-5/resolve/main/{there}",),
            citation="Rombach et al. 2022, arXiv:2112.10752",
            loaded_by="diffusers StableDiffusionPipeline",
        )
        for name, size, sha256 in map(str.split, _STABLE_DIFFUSION.strip().splitlines())
        for there in [name.replace(".safetensors", ".fp16.safetensors")]
    )


MANIFEST: dict[str, tuple[WeightFile, ...]] = {
    "256x256_diffusion_uncond": (
        WeightFile(
            "256x256_diffusion_uncond.pt",
            "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
            "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
            2_211_383_297,
            "MIT",
            mirrors=(f"{_HUB}/deepinv/diffunet/resolve/main/diffusion_openai.pt",),
            citation="Dhariwal & Nichol 2021, arXiv:2105.05233",
            loaded_by="zecon_lite UNet",
            profiles=("imagenet256",),
        ),
    ),
    "ffhq_10m": (
        WeightFile(
            "ffhq_10m.pt",
            f"{_HUB}/deepinv/diffunet/resolve/main/diffusion_ffhq_10m.pt",
            "81d535743156ec6be34d8668e6920da94f0614074d7793a16c8fa9e306237faa",
            374_417_833,
            "none stated",
            "follow the link to ffhq_10m.pt in the README of the repository jychoi118/ilvr_adm",
            mirrors=(_drive("117Y6Z6-Hg6TMZVIXMmgYbpZy7QvTXign"),),
            citation="Choi et al. 2021 (ILVR), arXiv:2108.02938",
            loaded_by="zecon_lite UNet",
            profiles=("ffhq256",),
        ),
    ),
    "ffhq_baseline": (
        WeightFile(
            "ffhq_baseline.pt",
            _drive("17SR1lih6BxBxJhr8s1iOjhw540H3Pc_m"),
            licence="none stated",
            where="follow the link to ffhq_baseline.pt in the README of the repository jychoi118/P2-weighting",
            citation="Choi et al. 2022 (P2 weighting), arXiv:2204.00227",
            loaded_by="zecon_lite UNet",
            profiles=("ffhq256_baseline",),
        ),
    ),
    "clip-vit-b-16": _clip(
        "ViT-B-16.pt", 350_837_078, "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", _EVERY_PROFILE
    ),
    "clip-vit-b-32": _clip(
        "ViT-B-32.pt", 353_976_522, "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    ),
    "clip-rn50": _clip(
        "RN50.pt", 255_827_503, "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
    ),
    "clip-rn50x4": _clip(
        "RN50x4.pt", 421_854_225, "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"
    ),
    "clip-rn50x16": _clip(
        "RN50x16.pt", 661_125_706, "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"
    ),
    "dino-vit-b-8": _dino(
        "vit_base_patch8_224.dino", "01be14b99784a4c0970a5703214513588daf27014e908ac7ea08967b7bd80f5f"
    ),
    "vgg19": (
        WeightFile(
            "vgg19-dcbb9e9d.pth",
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
            574_673_361,
            "BSD 3-Clause",
            citation="Simonyan & Zisserman 2015, arXiv:1409.1556",
            loaded_by="torchvision vgg19",
            profiles=_EVERY_PROFILE,
        ),
    ),
    "stable-diffusion-v1-5": _stable_diffusion(),
    "arcface-ir-se50": (
        WeightFile(
            "model_ir_se50.pth",
            "https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth",
            "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
            175_367_323,
            "MIT",
            where="the original is named by TreB1eN/InsightFace_Pytorch; Facexlib publishes the same bytes",
            mirrors=(f"{_HUB}/lithiumice/insightface/resolve/main/InsightFace_Pytorch%2Bmodel_ir_se50.pth",),
            citation="Deng et al. 2019 (ArcFace), arXiv:1801.07698",
            loaded_by="zecon_lite ArcFace",
        ),
    ),
}
"""Every published file that a profile, a recipe or a chapter can ask for, by a short name."""


def needed_by(profile: str) -> tuple[WeightFile, ...]:
    """The files that a profile cannot do without; none for one whose networks are bundled, or one that is unknown."""
    return tuple(file for files in MANIFEST.values() for file in files if profile in file.profiles)
