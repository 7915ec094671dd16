"""Questions that no choice was made by: paraphrases, in the words of strangers.

Where a thread is named, the wording follows how its author described the trouble (shortened, names left out); the
others are by hand, written after the notes and without looking at results. Never tune on these: develop with
``Topic.paraphrases``.
"""

from __future__ import annotations

HELD_OUT: dict[str, tuple[tuple[str, str], ...]] = {
    "nan": (
        ("loss becomes nan after a few thousand iterations", "karpathy/nanoGPT#167"),
        ("loss turns to NaN after some hundred iterations", "taki0112/UGATIT#41"),
        ("infinite or missing values in the loss", ""),
    ),
    "diverged": (
        ("training and validation loss are both increasing", "breizhn/DTLN#58"),
        ("after a few steps the loss gets insanely big", "tensorflow/models#3868"),
        ("value of loss explodes when training longer", "jmiller656/EDSR-Tensorflow#50"),
    ),
    "overfit": (
        ("train loss is decreasing while validation loss is increasing", "kuangliu/pytorch-retinanet#29"),
        ("gets better at fitting the data it sees and worse at data it does not see", "keras-team/keras#3755"),
        ("too many epochs, the model no longer generalizes", ""),
    ),
    "never learned": (
        ("accuracy and loss are not changing", "keras-team/keras#10063"),
        ("the network is not learning during training, loss almost constant", "BVLC/caffe#4427"),
        ("accuracy stays the same no matter what", "keras-team/keras#2711"),
    ),
    "plateau": (
        ("my model has stopped improving", "facebookresearch/demucs#198"),
        ("loss initially decreases but then remains constant", "baidu-research/ba-dls-deepspeech#29"),
        ("loss does not change after 40 epochs", "Pointcept/Pointcept#524"),
    ),
    "spike": (
        ("the loss suddenly increased and then went back", "karpathy/char-rnn#169"),
        ("peaks in the loss, are there hard samples", "facebookresearch/vggt#441"),
        ("brief instability but it survived", ""),
    ),
    "oscillating": (
        ("loss fluctuates a lot and does not seem to get better", "Nealcly/templateNER#27"),
        ("loss value is oscillating rather than continuously decreasing", "wubin5/STTN#7"),
        ("training loss is wavering around", "jik876/hifi-gan#60"),
    ),
    "undertrained": (
        ("the loss was going down even after the last epoch", "xuannianz/EfficientDet#158"),
        ("model hasn't converged, better to train with even more epochs", "xuannianz/EfficientDet#158"),
        ("might still decrease if training is continued", "MIC-DKFZ/nnUNet#1271"),
    ),
    "slow": (
        ("throughput is much lower than expected", "hiyouga/LlamaFactory#5537"),
        ("random slow downs, few examples per second", "tensorflow/tensorflow#2987"),
        ("why did this consume so many hours", ""),
    ),
    "winner": (
        ("which hyperparameters gave the highest accuracy", ""),
        ("state of the art, nothing better found", ""),
        ("first place among all trials", ""),
    ),
    "poor": (
        ("result is lower than reported", "xuguodong03/SSKD#11"),
        ("cannot get the precision in the paper", "wangtong627/NCAGC-NeuroCom#2"),
        ("almost all results are lower than they should be", "thuml/Batch-Spectral-Penalization#2"),
    ),
    "lr too high": (
        ("maybe the initial learning rate is too large", "gcr/torch-residual-networks#10"),
        ("try lowering the learning rate", "karpathy/char-rnn#169"),
        ("network will not converge if the learning rate is adjusted larger", "PeizeSun/OneNet#18"),
    ),
    "lr too low": (
        ("why is the learning rate set so small", "PeizeSun/OneNet#18"),
        ("loss goes down only very slowly, use a larger step", ""),
        ("overly small learning rates", "probml/pml-book#191"),
    ),
    "gradients": (
        ("abnormally high gradient norm", "haidog-yaqub/MeanFlow#8"),
        ("grad norm keeps getting larger and larger", "ironjr/grokfast#9"),
        ("gradient explosion", "FoundationVision/Infinity#48"),
    ),
    "test gap": (
        ("performs very well in one set and very poorly in the test set", "JiahuiYu/generative_inpainting#187"),
        ("accuracy is very low on the new data set", "detectRecog/CCPD#16"),
        ("hyperparameters were adjusted on the wrong split", "chenhaoxing/M2L#1"),
    ),
    "short": (
        ("did not run to the end", ""),
        ("was killed by somebody or by the scheduler", ""),
        ("few data points because it got cancelled", ""),
    ),
    "regularised": (
        ("too much L2", ""),
        ("all the training results are worse, a bit underfitting from penalties", "EastbeanZhang/Gaussian-Wild#13"),
        ("dropout rate hurts", ""),
    ),
    "fast": (
        ("can converge to a good result within few epochs", "fredzzhang/upt#31"),
        ("time to target was very short", ""),
        ("low cost and quickly good", ""),
    ),
    "seeds": (
        ("difference is too large for different random seeds", "hongyizhi/TSFCNet#1"),
        ("does it produce identical loss values with the same seed", "undertherain/benchmarker#71"),
        ("how sensitive is the result to the choice of random seed", "GlobalFishingWatch/vessel-scoring#14"),
    ),
    "warmup": (
        ("learning rate warm up at the start of training", ""),
        ("linear increase of the learning rate before decay", ""),
        ("longer burn-in of the scheduler", ""),
    ),
}
