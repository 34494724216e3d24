; A boot sector that looks at a drive again and again by the firmware's calls. On port 0xe9 it shows, as <X>, the first byte
; of what is in it, or <!> if nothing can be read, whenever that is something else than before. What it shows it also writes to the second
; sector of the disk it was started from.
        bits 16
        org 0x7c00

        jmp     start
        times   4-($-$$) db 0
; The drive, as the firmware numbers it: the tests fill it in.
drive:  db      0

start:  xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     [boot], dl
        sti

        ; Until the timer's next interrupt: 18 looks a second.
again:  hlt
        mov     bx, 0x8000
        mov     dl, [drive]
        test    dl, dl
        js      blocks
        ; By cylinder, head and sector: 0, 0, 1.
        mov     ax, 0x0201
        mov     cx, 1
        mov     dh, 0
        int     0x13
        jmp     done
        ; The call says in the packet how many blocks it has read.
blocks: mov     word [read+2], 1
        mov     ah, 0x42
        mov     si, read
        int     0x13
done:   mov     al, [0x8000]
        jnc     shown
        mov     al, '!'
shown:  cmp     al, [last]
        je      again
        mov     [last], al
        mov     di, 0x8000
        mov     cx, 512
        rep     stosb
        mov     ah, 0x43
        mov     al, 0
        mov     si, write
        mov     dl, [boot]
        int     0x13
        mov     dx, 0xe9
        mov     al, '<'
        out     dx, al
        mov     al, [last]
        out     dx, al
        mov     al, '>'
        out     dx, al
        jmp     again

boot:   db      0
last:   db      0
        align   4
; Packets: size, blocks, buffer, first block.
read:   dw      16, 1, 0x8000, 0
        dq      0
write:  dw      16, 1, 0x8000, 0
        dq      1

        times   510-($-$$) db 0
        dw      0xaa55
