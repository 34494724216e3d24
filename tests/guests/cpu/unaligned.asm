; Loads and stores at every offset around the end of a page, whose neighbour lies elsewhere in physical memory.
%include "cpu.inc"
        START
        PAGING
        MAP PAGE2, PAGE4 + (P | W | U)
        MAP PAGE4, PAGE2 + (P | W | U)
        mov ecx, -8
.next:  lea edi, [PAGE2 + ecx]
        mov dword [edi], 0x44332211
        CHECK_EQ dword [edi], 0x44332211
        mov ax, [edi + 1]
        CHECK_EQ ax, 0x3322
        mov al, [edi + 3]
        CHECK_EQ al, 0x44
        inc ecx
        cmp ecx, 8
        jl .next
        ; The upper half went to the other page.
        mov dword [PAGE2 - 2], 0xddccbbaa
        mov ax, [PAGE2]
        CHECK_EQ ax, 0xddcc
        mov word [PAGE3], 0
        MAP PAGE2, PAGE2 + (P | W | U)
        MAP PAGE4, PAGE4 + (P | W | U)
        mov ax, [PAGE4]
        CHECK_EQ ax, 0xddcc
        PASS
