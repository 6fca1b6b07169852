# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 02 · Vision encoders: CNNs and vision transformers
#
# **Time.** About 110 minutes of reading and trying. All cells together run in three minutes on two CPU cores.
#
# **You should know** what a layer, a loss and a training step are, and how attention works (lesson 01). Everything
# else is explained here.
#
# **Afterwards you can**
#
# - say what numbers a picture is, in RGB, YUV and HSV, and prepare it for a network without spoiling it;
# - write a convolution by hand, and compute and draw what a cell of a feature map can see;
# - name the one new idea of VGG, ResNet, EfficientNet, ViT, Swin and ConvNeXt, and load published weights into each;
# - compare a CNN with a vision transformer honestly: by data, by time, by parameters;
# - choose between a linear probe, fine-tuning and training from scratch, with numbers;
# - explain how Faster R-CNN, Mask R-CNN and DETR find objects, and compute IoU, NMS, RoIAlign and a matching.

# %% [markdown]
# ## 1 What a picture is to a program

# %% [markdown]
# ## 2 Colour: RGB, YUV, HSV

# %% [markdown]
# ## 3 From a picture to pixel values: resize, crop, normalise, augment

# %% [markdown]
# ## 4 Convolution

# %% [markdown]
# ## 5 Pooling, and how far a cell can see

# %% [markdown]
# ## 6 VGG: small kernels, many of them

# %% [markdown]
# ## 7 ResNet: add, do not replace

# %% [markdown]
# ## 8 EfficientNet: cheaper convolutions, scaled together

# %% [markdown]
# ## 9 ViT: patches as tokens

# %% [markdown]
# ## 10 Swin: attention in windows

# %% [markdown]
# ## 11 ConvNeXt: what the transformer taught the convolution

# %% [markdown]
# ## 12 CNN or ViT? By data, by time, by parameters

# %% [markdown]
# ## 13 The course's vision checkpoints

# %% [markdown]
# ## 14 Transfer: linear probe or fine-tuning

# %% [markdown]
# ## 15 Detection and segmentation in outline

# %% [markdown]
# ## 16 Break it

# %% [markdown]
# ## 17 At full scale

# %% [markdown]
# ## 18 Looking back
